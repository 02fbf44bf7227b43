"""FitSNAP inputs: read as FitSNAP reads them, and turned into run files that give the same fit."""
