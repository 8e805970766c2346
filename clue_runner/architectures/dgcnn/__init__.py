"""DGCNN: a reader of gated dilated convolutions over characters, without pre-trained weights."""
