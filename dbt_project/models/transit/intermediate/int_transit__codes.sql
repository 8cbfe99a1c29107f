-- One row per code in service, with its line and its position on the line.
with codes as (

    select * from {{ ref('station_codes') }}

),

lines as (

    select * from {{ ref('lines') }}

),

code_parts as (

    select
        code,
        station_name,
        upper(station_name) as name_key,
        regexp_extract(code, '^[A-Z]+') as prefix,
        coalesce(try_cast(regexp_extract(code, '[0-9]+$') as integer), 0) as number_on_line,
    from codes

),

codes_with_line as (

    select
        code_parts.*,
        lines.line_code,
        lines.line_name,
        lines.mode,
        lines.color,
        lines.line_order,
    from code_parts
    left join lines on code_parts.prefix = lines.prefix

)

select * from codes_with_line
