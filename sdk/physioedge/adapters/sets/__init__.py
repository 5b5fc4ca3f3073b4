"""Adapter sets: many people's conditions beside the residuals that were fitted for them."""
