-- One row per exit that an answer says something about.
with claims as (

    select * from {{ ref('int_transit__claims') }}
    where exit_id is not null

),

enriched as (

    select
        name_key,
        exit_id,
        first(accessibility order by asked_name) filter (where claim = 'exit') as accessibility,
        first(nearby_landmarks order by asked_name)
        filter (where claim = 'exit') as nearby_landmarks,
        list(
            struct_pack(
                platform_code := platform_code,
                towards_code := towards_code,
                line_code := told_line_code
            )
            order by platform_code, towards_code
        ) filter (where claim = 'platform') as platforms,
        list(
            struct_pack(code := bus_stop_code, services := bus_services)
            order by bus_stop_code
        ) filter (where claim = 'bus stop') as bus_stops,
    from claims
    group by name_key, exit_id

)

select * from enriched
