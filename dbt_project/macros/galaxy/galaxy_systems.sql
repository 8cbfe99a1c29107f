{#- The columns of a dump of systems, which has the same layout whichever systems it covers. -#}
{% macro galaxy_systems(relation) -%}
    select
        id64,
        name,
        main_star,
        x as x_ly,
        y as y_ly,
        z as z_ly,
        needs_permit,
        updated_at,
        source_sha256,
        source_row,
    from {{ relation }}
{%- endmacro %}
