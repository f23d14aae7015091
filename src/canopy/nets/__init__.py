"""Plain nets: features in, logits out, nothing about training.

Each is called with numeric features (B, N), float, and codes of categories (B, C), int64, where the number of
a feature's categories is the code of an unseen one. It returns logits (B, K), or (B, M, K) of M members.
"""
