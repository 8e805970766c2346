# scaffold; see README.md
