"""What operators ask of the card, from shapes alone: fused ones by hand, torch's by their route."""
