{#- The id of a ruling in claims and history: the vulnerability, and the package if it names one -#}
{% macro ruling_id(rulings) -%}
    {{ rulings }}.cve_id || coalesce(':' || {{ rulings }}.package_name, '')
{%- endmacro %}
