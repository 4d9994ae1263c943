"""The request bodies of both versions, as structs that decoding and the OpenAPI document share."""
