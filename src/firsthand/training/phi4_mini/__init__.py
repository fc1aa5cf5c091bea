"""Phi-4-Mini (arXiv 2503.01743): modalities as LoRAs on a frozen model. Planned."""
