"""AWS as Baseward's tests see it: moto's models behind a layer that behaves like the real service."""
