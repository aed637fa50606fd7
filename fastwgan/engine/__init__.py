"""Gradients of whole critics: what `fastwgan.gradient_penalty` differentiates with."""
