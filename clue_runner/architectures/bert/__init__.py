"""BERT: an encoder of post-norm blocks with learned positions; RoBERTa-wwm, MacBERT, LERT and RBT too."""
