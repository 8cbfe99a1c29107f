-- One row per item and mold that can make it.
with specifications as (

    select * from {{ ref('stg_molding__mold_specification_summary') }}

),

mold_numbers as (

    select
        item_code,
        unnest(string_split(mold_list, '/')) as mold_no,
    from specifications

),

item_molds as (

    select distinct
        item_code,
        trim(mold_no) as mold_no,
    from mold_numbers
    where trim(mold_no) != ''

)

select * from item_molds
