-- One row per exit with the key of its station: the whole name before MRT STATION, never a part of
-- it, or the name of the station whose code stands there.
with exits as (

    select * from {{ ref('stg_transit__station_exits') }}

),

codes as (

    select * from {{ ref('int_transit__codes') }}

),

cleaned as (

    select
        *,
        upper(trim(served_name)) as name,
        trim(regexp_replace(upper(trim(served_exit_code)), '^EXIT\s*', '')) as exit_code,
    from exits

),

named as (

    select
        cleaned.* exclude (cleaned.name),
        coalesce(codes.name_key, regexp_replace(cleaned.name, '\s+(MRT|LRT)\s+STATION$', ''))
            as name_key,
        codes.code as named_by_code,
        coalesce(codes.mode, if(regexp_matches(cleaned.name, '\sLRT\s+STATION$'), 'lrt', 'mrt'))
            as mode,
    from cleaned
    left join codes on cleaned.name = codes.code

),

numbered as (

    select
        *,
        row_number() over (
            partition by name_key, mode, exit_code
            order by longitude_degrees, latitude_degrees
        ) as number_of_code,
    from named

),

identified as (

    select
        * exclude (number_of_code),
        concat_ws('-', upper(mode), exit_code, if(number_of_code > 1, number_of_code, null))
            as exit_id,
    from numbered

)

select * from identified
