-- One row per resin or masterbatch, with the names and types of the factory's own schema.
with materials as (

    select * from {{ ref('stg_molding__resin_info') }}

),

factory_materials as (

    select
        resin_code as "resinCode",
        resin_name as "resinName",
        resin_type as "resinType",
        color_type as "colorType",
    from materials

)

select * from factory_materials
