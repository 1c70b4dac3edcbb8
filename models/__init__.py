"""LMM families over transformers and peft: loading, adapters, batches.

Nothing is imported here: a driver asks for folders and fingerprints only, and need not wait for
transformers and peft.
"""
