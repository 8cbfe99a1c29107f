-- One row per item, with the names and types of the factory's own schema.
with held as (

    select * from {{ ref('stg_molding__mold_specification_summary') }}

),

named as (

    select
        item_code as "itemCode",
        item_name as "itemName",
        item_type as "itemType",
        molds_count as "moldNum",
        mold_list as "moldList",
    from held

)

select * from named
