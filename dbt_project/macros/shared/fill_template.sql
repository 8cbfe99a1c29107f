{#- Fills a template with values: {name} is replaced by the value of that name, and a part in
    [square brackets] is left out if a value in it is null. `values` maps names to SQL expressions.
    They are replaced in this order, so text from upstream comes last: its braces stay. -#}
{% macro fill_template(template, values) -%}
    {%- set state = namespace(sql="array_to_string(list_filter(regexp_split_to_array("
        ~ template ~ ", '[\\[\\]]'), lambda part: true") -%}
    {%- for name, value in values.items() -%}
        {%- set state.sql = state.sql
            ~ " and (" ~ value ~ " is not null or not contains(part, '{" ~ name ~ "}'))" -%}
    {%- endfor -%}
    {%- set state.sql = state.sql ~ "), '')" -%}
    {%- for name, value in values.items() -%}
        {%- set state.sql = "replace(" ~ state.sql ~ ", '{" ~ name ~ "}', coalesce("
            ~ value ~ ", ''))" -%}
    {%- endfor -%}
    {{ state.sql }}
{%- endmacro %}

{#- True if `values` has a value for each {name} of the template. The filled text would not show it:
    a value from outside may have braces of its own. -#}
{% macro is_filled_by(template, values) -%}
    not contains(
        regexp_replace({{ template }}, '\{({{ values | join("|") }})\}', '', 'g'), '{'
    )
{%- endmacro %}
