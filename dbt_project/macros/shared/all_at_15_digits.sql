{#- Selects all columns, with the given measures rounded to 15 significant digits. Excel keeps no
    more, so a sixteenth digit depends on the program that saved the workbook and is no change. -#}
{% macro all_at_15_digits(measures) -%}
    {%- set rounded = [] -%}
    {%- for measure in measures -%}
        {%- do rounded.append("printf('%.15g', " ~ measure ~ ")::double as " ~ measure) -%}
    {%- endfor -%}
    * {{ 'replace (' ~ rounded | join(', ') ~ ')' if rounded }}
{%- endmacro %}
