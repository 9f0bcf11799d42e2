"""Pretrained networks with their preprocessing, their blocks and their weights."""
