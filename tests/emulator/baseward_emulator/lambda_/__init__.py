"""Lambda, as a model of the layer's own.

Mends gaps of moto: most fields of a configuration are dropped, there is no RevisionId, no state of an update, no
pages, one policy for all qualifiers, and half of the operations that Baseward needs are absent.
"""
