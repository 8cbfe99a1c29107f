"""What is declared in YAML.

Models of sources and domains, rules between fields, loading, code generation.
"""
