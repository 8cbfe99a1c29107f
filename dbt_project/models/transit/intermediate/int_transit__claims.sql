-- One row per claim of an answer, with the exit that it is about, where its code is one exit's
-- alone. A claim about an exit that no source tells of stays without one and makes none.
with claims as (

    select
        *,
        trim(regexp_replace(upper(trim(told_exit_code)), '^EXIT\s*', '')) as exit_code,
        regexp_replace(upper(trim(asked_name)), '\s+(MRT|LRT)\s+STATION$', '') as asked_key,
    from {{ ref('stg_transit__station_answers') }}

),

codes as (

    select * from {{ ref('int_transit__codes') }}

),

exits as (

    select
        name_key,
        exit_code,
        any_value(exit_id) as exit_id,
    from {{ ref('int_transit__exits_named') }}
    group by name_key, exit_code
    having count(*) = 1

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
        exits.exit_id,
    from placed
    left join exits on placed.name_key = exits.name_key and placed.exit_code = exits.exit_code

)

select * from matched
