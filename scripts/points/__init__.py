"""What the training of key points' retargeting learns from, and how."""
