{#- A text that is equal for all spellings of a name. `lower` alone has two results for one name
    with a final sigma, a Turkish i or a sharp s; an accent may be a part of its letter or follow it.
    The function of this name in etl_assets/storage/sql_quoting.py makes the same SQL. -#}
{% macro fold_case(text) -%}
    replace(replace(lower(upper(nfc_normalize({{ text }}))), 'i' || chr(775), 'i'), 'ß', 'ss')
{%- endmacro %}
