-- One row per exit with the key of its station: the whole name before MRT STATION or LRT STATION.
-- If the source has a code in place of the name, the key is the name of the station with the code.
with exits as (

    select * from {{ ref('stg_transit__station_exits') }}

),

codes as (

    select * from {{ ref('int_transit__codes') }}

),

clean_exits as (

    select
        *,
        upper(trim(raw_station_name)) as name,
        trim(regexp_replace(upper(trim(raw_exit_code)), '^EXIT\s*', '')) as exit_code,
    from exits

),

exits_with_station as (

    select
        clean_exits.* exclude (clean_exits.name),
        coalesce(codes.name_key, regexp_replace(clean_exits.name, '\s+(MRT|LRT)\s+STATION$', ''))
            as name_key,
        codes.code as station_code,
        coalesce(codes.mode, if(regexp_matches(clean_exits.name, '\sLRT\s+STATION$'), 'lrt', 'mrt'))
            as mode,
    from clean_exits
    left join codes on clean_exits.name = codes.code

),

numbered_exits as (

    select
        *,
        row_number() over (
            partition by name_key, mode, exit_code
            order by longitude_degrees, latitude_degrees
        ) as number_of_code,
    from exits_with_station

),

identified_exits as (

    select
        * exclude (number_of_code),
        concat_ws('-', upper(mode), exit_code, if(number_of_code > 1, number_of_code, null))
            as exit_id,
    from numbered_exits

)

select * from identified_exits
