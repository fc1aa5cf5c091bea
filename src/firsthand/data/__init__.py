"""Data: choose, mix and collect what models are trained on."""
