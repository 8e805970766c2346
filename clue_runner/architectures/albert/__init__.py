"""ALBERT: one block that serves every layer, behind a narrow embedding; Google's form and albert_zh's."""
