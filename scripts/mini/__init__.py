"""Training of the embedded backbone: data, autoencoder, text encoder and UNet."""
