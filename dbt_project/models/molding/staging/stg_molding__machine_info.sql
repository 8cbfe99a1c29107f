-- One row per machine.
with source as (

    select * from {{ source('molding', 'machine_info') }}

),

renamed as (

    select
        "machineNo" as machine_no,
        "machineCode" as machine_code,
        "machineName" as machine_name,
        "manufacturerName" as manufacturer_name,
        "machineTonnage" as tonnage_t,
        "changedTime" as layout_changes_count,
        "layoutStartDate" as layout_start_date,
        "layoutEndDate" as layout_end_date,
        "previousMachineCode" as previous_machine_code,
        source_sha256,
        source_row,
    from source

)

select * from renamed
