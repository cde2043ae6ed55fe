"""api/openapi.yaml, to hold the server's answers against."""

import jsonschema
import yaml

from harness import ROOT


class Api:
    def __init__(self):
        self.document = yaml.safe_load((ROOT / "api" / "openapi.yaml").read_text())

    def check(self, schema, value):
        """Fails when `value` is not of the named schema."""
        root = {"$ref": f"#/components/schemas/{schema}", "components": self.document["components"]}
        jsonschema.Draft202012Validator(root).validate(value)

    def codes(self, method, path):
        """The codes with which the route may answer, as text."""
        return set(self.document["paths"][path][method.lower()]["responses"])

    def codes_of_every_route(self):
        """Those that a route may answer with beside its own."""
        return set(self.document["components"]["x-responses-of-every-route"])

    def routes(self):
        """Method and path of each."""
        return [
            (method.upper(), path)
            for path, item in self.document["paths"].items()
            for method in item
            if method in ("get", "post")
        ]
