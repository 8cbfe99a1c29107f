-- One row per claim of an answer, with the exits that it is about: those of its code in the part of
-- the station that was asked about, else in the whole. A claim about an exit that no source tells
-- of stays without one and makes none.
with claims as (

    select
        *,
        trim(regexp_replace(upper(trim(told_exit_code)), '^EXIT\s*', '')) as exit_code,
        upper(trim(asked_name)) as asked_part,
        regexp_replace(upper(trim(asked_name)), '\s+(MRT|LRT)\s+STATION$', '') as asked_key,
    from {{ ref('stg_transit__station_answers') }}

),

codes as (

    select * from {{ ref('int_transit__codes') }}

),

exits as (

    select
        name_key,
        upper(trim(served_name)) as part,
        exit_code,
        exit_id,
    from {{ ref('int_transit__exits_named') }}

),

of_parts as (

    select
        part,
        exit_code,
        list(exit_id order by exit_id) as exit_ids,
    from exits
    group by part, exit_code

),

of_stations as (

    select
        name_key,
        exit_code,
        list(exit_id order by exit_id) as exit_ids,
    from exits
    group by name_key, exit_code

),

placed as (

    select
        claims.*,
        coalesce(codes.name_key, claims.asked_key) as name_key,
    from claims
    left join codes on claims.asked_key = codes.code

),

matched as (

    select
        placed.*,
        coalesce(of_parts.exit_ids, of_stations.exit_ids, []) as exit_ids,
    from placed
    left join of_parts
        on placed.asked_part = of_parts.part and placed.exit_code = of_parts.exit_code
    left join of_stations
        on placed.name_key = of_stations.name_key and placed.exit_code = of_stations.exit_code

)

select * from matched
