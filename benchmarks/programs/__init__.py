"""The measured programs. They use the public API alone, so the same file runs on Manta and on upstream Ray."""
