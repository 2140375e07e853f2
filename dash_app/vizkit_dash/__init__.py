"""The vizkit app: a Dash shell around components that anybody can embed."""
