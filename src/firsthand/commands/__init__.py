"""The house's own verbs: thin shells over the catalogue, the instrument and the cache."""
