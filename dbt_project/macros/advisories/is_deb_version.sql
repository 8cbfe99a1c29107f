{#- True if a text may be a Debian version, in the characters and the start that it has. -#}
{% macro is_deb_version(text) -%}
    regexp_matches({{ text }}, '^([0-9]+:)?[0-9][A-Za-z0-9.+~:-]*$')
{%- endmacro %}
