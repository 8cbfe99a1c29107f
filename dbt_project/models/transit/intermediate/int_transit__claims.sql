-- One row per claim of an answer, with the exits that it is about: those with the claimed code in
-- the requested part of the station, or in the whole station if the part has none. A claim about an
-- exit that is not in the source has no exits, and adds none.
with claims as (

    select
        *,
        trim(regexp_replace(upper(trim(claimed_exit_code)), '^EXIT\s*', '')) as exit_code,
        upper(trim(requested_name)) as requested_part,
        regexp_replace(upper(trim(requested_name)), '\s+(MRT|LRT)\s+STATION$', '') as requested_key,
    from {{ ref('stg_transit__station_answers') }}

),

codes as (

    select * from {{ ref('int_transit__codes') }}

),

exits as (

    select
        name_key,
        upper(trim(raw_station_name)) as part,
        exit_code,
        exit_id,
    from {{ ref('int_transit__exits_named') }}

),

exits_by_part as (

    select
        part,
        exit_code,
        list(exit_id order by exit_id) as exit_ids,
    from exits
    group by part, exit_code

),

exits_by_station as (

    select
        name_key,
        exit_code,
        list(exit_id order by exit_id) as exit_ids,
    from exits
    group by name_key, exit_code

),

station_claims as (

    select
        claims.*,
        coalesce(codes.name_key, claims.requested_key) as name_key,
    from claims
    left join codes on claims.requested_key = codes.code

),

claims_with_exits as (

    select
        station_claims.*,
        coalesce(exits_by_part.exit_ids, exits_by_station.exit_ids, []) as exit_ids,
    from station_claims
    left join exits_by_part
        on
            station_claims.requested_part = exits_by_part.part
            and station_claims.exit_code = exits_by_part.exit_code
    left join exits_by_station
        on
            station_claims.name_key = exits_by_station.name_key
            and station_claims.exit_code = exits_by_station.exit_code

)

select * from claims_with_exits
