"""What is measured: spectra, determinants, ranks and rows, each with how far it can be trusted."""
