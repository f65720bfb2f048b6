"""Raw videos become training clips: shots, faces, crops, filters, identities, shards."""
