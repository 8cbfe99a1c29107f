-- One row per machine, with the names and types of the factory's own schema.
with machines as (

    select * from {{ ref('stg_molding__machine_info') }}

),

factory_machines as (

    select
        machine_no as "machineNo",
        machine_code as "machineCode",
        machine_name as "machineName",
        manufacturer_name as "manufacturerName",
        tonnage_t as "machineTonnage",
        layout_changes_count as "changedTime",
        layout_start_date::timestamp_ns as "layoutStartDate",
        layout_end_date::timestamp_ns as "layoutEndDate",
        previous_machine_code as "previousMachineCode",
    from machines

)

select * from factory_machines
