{#- The columns of a dump of systems, whose layout is the same for all and for recent systems. -#}
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
