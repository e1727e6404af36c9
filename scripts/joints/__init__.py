"""Training of the joint detector and of retargeting."""
