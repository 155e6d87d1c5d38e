"""The conformance checks: any WHIP and WHEP server as a black box, check by check."""
