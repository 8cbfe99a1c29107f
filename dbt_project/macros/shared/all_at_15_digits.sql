{#- All columns, with the named measures at 15 digits: as many as Excel knows. What a program that
    saves a workbook does to the sixteenth is no change. -#}
{% macro all_at_15_digits(measures) -%}
    {%- set rounded = [] -%}
    {%- for measure in measures -%}
        {%- do rounded.append("printf('%.15g', " ~ measure ~ ")::double as " ~ measure) -%}
    {%- endfor -%}
    * {{ 'replace (' ~ rounded | join(', ') ~ ')' if rounded }}
{%- endmacro %}
