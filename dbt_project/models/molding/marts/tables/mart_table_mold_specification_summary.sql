-- One row per item, with the names and types of the factory's own schema.
with specifications as (

    select * from {{ ref('stg_molding__mold_specification_summary') }}

),

factory_specifications as (

    select
        item_code as "itemCode",
        item_name as "itemName",
        item_type as "itemType",
        molds_count as "moldNum",
        mold_list as "moldList",
    from specifications

)

select * from factory_specifications
