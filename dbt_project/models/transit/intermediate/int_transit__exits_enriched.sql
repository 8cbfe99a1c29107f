-- One row per exit with a claim of an answer.
with claims as (

    select
        *,
        unnest(exit_ids) as exit_id,
    from {{ ref('int_transit__claims') }}

),

enrichments as (

    select
        name_key,
        exit_id,
        first(accessibility order by requested_name) filter (where claim = 'exit') as accessibility,
        first(nearby_landmarks order by requested_name)
        filter (where claim = 'exit') as nearby_landmarks,
        list_sort(
            list(
                distinct struct_pack(
                    platform_code := platform_code,
                    towards_code := towards_code,
                    line_code := claimed_line_code
                )
            ) filter (where claim = 'platform')
        ) as platforms,
        list_sort(
            list(distinct struct_pack(code := bus_stop_code, services := bus_services))
            filter (where claim = 'bus stop')
        ) as bus_stops,
    from claims
    group by name_key, exit_id

)

select * from enrichments
