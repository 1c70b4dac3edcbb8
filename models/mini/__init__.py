"""The embedded model: small LMMs in stock transformers classes, and the scripts that build them."""
