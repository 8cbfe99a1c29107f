{#- A name of a row that stays the same in the next file, as long as the rows of its key do: source,
    key and position among the rows of the key. File and line of the row change with every file;
    they are joined where rows are published. `source` is the name of the source. -#}
{% macro source_record(source, key) -%}
    concat_ws(
        ':', '{{ source }}', {{ key | join(', ') }},
        lpad(
            (row_number() over (
                partition by {{ key | join(', ') }} order by source_sha256, source_row
            ))::varchar,
            6, '0'
        )
    )
{%- endmacro %}
