{#- The columns of a dump of bodies, whose layout is the same for all and for populated systems. -#}
{% macro galaxy_bodies(relation) -%}
    select
        system_id64,
        body_id,
        id64 as body_id64,
        system_name,
        name as body_name,
        type as body_type,
        sub_type,
        spectral_class,
        luminosity,
        atmosphere_type,
        terraforming_state,
        distance_to_arrival_ls,
        solar_masses,
        earth_masses,
        radius_km,
        gravity_g,
        surface_temperature_k,
        orbital_eccentricity,
        is_main_star,
        is_landable,
        updated_at,
        source_sha256,
        source_row,
    from {{ relation }}
{%- endmacro %}
