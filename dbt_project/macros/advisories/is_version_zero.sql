{#- True if the version is 0, which no package has: as a fix it says "never affected". -#}
{% macro is_version_zero(version) -%}
    coalesce(regexp_matches({{ version }}, '^(0+:)?0+(-0+)?$'), false)
{%- endmacro %}
