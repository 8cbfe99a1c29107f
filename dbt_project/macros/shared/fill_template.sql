{#- A sentence from a template: {name} takes a value, and a part in [square brackets] is left out
    where a value that it names is null. `values` maps names to SQL expressions; put text written by
    other people last, so that nothing in it is taken for a name. -#}
{% macro fill_template(template, values) -%}
    {%- set filled = namespace(sql="array_to_string(list_filter(regexp_split_to_array("
        ~ template ~ ", '[\\[\\]]'), lambda part: true") -%}
    {%- for name, value in values.items() -%}
        {%- set filled.sql = filled.sql
            ~ " and (" ~ value ~ " is not null or not contains(part, '{" ~ name ~ "}'))" -%}
    {%- endfor -%}
    {%- set filled.sql = filled.sql ~ "), '')" -%}
    {%- for name, value in values.items() -%}
        {%- set filled.sql = "replace(" ~ filled.sql ~ ", '{" ~ name ~ "}', coalesce("
            ~ value ~ ", ''))" -%}
    {%- endfor -%}
    {{ filled.sql }}
{%- endmacro %}
