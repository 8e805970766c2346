"""RoFormer and RoFormerV2: rotary positions; the second without biases, its norms without weights."""
